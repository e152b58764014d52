"""HTTP: hot routes as plain ASGI in front of FastAPI, one OpenAPI document, problems for what goes wrong."""
