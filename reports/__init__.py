"""Reports: what people read. Imports only the measurement schema."""
