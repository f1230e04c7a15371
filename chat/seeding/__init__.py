"""Made accounts with made libraries and conversations, in any number: for measurements and for looking at plans."""
