"""Model zoo: bundles published, verified, their weights fetched and checked."""
