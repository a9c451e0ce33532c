"""Bundle runs: trained and evaluated in processes of their own; cross-validation; where bundles lie."""
