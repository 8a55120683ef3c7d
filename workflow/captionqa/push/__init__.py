"""The push of the results onto a hub, with a card."""
