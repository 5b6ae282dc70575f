"""Image datasets: read from anywhere, decoded once into bytes in a cache, dequantised where they are used."""
