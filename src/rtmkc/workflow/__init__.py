"""A whole run, from a study file to a results folder."""
