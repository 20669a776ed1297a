"""The SOLAR loader against torch's DataLoader, on cold files and on an emulated parallel file system."""
