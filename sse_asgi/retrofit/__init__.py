"""What event streams need, for an app that streams already."""
