"""An invoice's detail file, by command and over HTTP."""
