"""Who asks: users by service-auth token, operators by bearer token."""
