"""Next corridors: streets, risk on streets, exact search for the best stretches, and seams of a grid."""
