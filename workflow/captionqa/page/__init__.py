"""The page: a folder with one HTML file that shows the results and their images, without a network."""
