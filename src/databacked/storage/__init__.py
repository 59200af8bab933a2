"""Bytes at names: listing, one rename, moving aside. It knows no record and no serializer."""
