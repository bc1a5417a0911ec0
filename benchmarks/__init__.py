"""One script per claim, in folders by what they measure."""
