"""What a bound costs a surrogate that is trained on what it decodes to."""
