"""Rules of folders that tasks have beside their three places."""
