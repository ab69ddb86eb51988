"""The processes of the platform, one package a role."""
