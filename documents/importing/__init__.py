"""Documents from elsewhere: the files of a ZIP archive, and what lies at a web address."""
