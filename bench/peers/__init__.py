"""What Binkeeper is measured against: what people run today, and the bare limits of what lies below."""
