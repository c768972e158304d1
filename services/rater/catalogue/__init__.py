"""The catalogue: plans, meters, model prices and discount schedules, from a YAML file."""
