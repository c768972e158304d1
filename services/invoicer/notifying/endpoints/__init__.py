"""Who is told: endpoints, which people add, try and remove."""
