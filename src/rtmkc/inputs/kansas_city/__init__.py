"""Readers of the public files of Kansas City, Missouri (data.kcmo.org), one a file."""
