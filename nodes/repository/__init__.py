"""The repository node: modules and schemas by digest."""
