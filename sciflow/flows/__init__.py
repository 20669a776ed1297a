"""Prefect flows: each task a one-line call of a plain function elsewhere in sciflow. Loads nothing heavy."""
