"""State on disk, in LMDB; the only code that imports lmdb."""
