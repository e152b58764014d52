"""HTTP: hot routes as plain ASGI in front of FastAPI, one OpenAPI document, problems for everything that goes wrong."""
