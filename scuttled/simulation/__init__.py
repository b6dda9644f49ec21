"""Clusters in one process and in virtual time, from one seed."""
