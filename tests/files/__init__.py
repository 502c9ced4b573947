"""What is written: files, folders, jobs."""
