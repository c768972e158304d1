"""Where is my event, and how is my source: what became of what producers sent."""
