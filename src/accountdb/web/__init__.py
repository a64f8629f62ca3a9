"""What a browser and a monitoring system see: the dashboard, and metrics with health endpoints."""
