"""Files of other tools: what comes in from them, and what goes out to them."""
