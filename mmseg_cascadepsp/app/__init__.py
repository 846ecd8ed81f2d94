"""The refiner behind an address: a queue of requests, HTTP, and a page to try it on."""
