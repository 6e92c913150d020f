"""Layers become a coded grid."""
