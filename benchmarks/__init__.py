"""What vecstore costs and finds, measured beside pgvector used by hand. Each module with a main() is a benchmark."""
