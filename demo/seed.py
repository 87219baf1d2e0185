"""Placeholder until the market is written."""
ACCOUNTS = ()
PASSWORD = "jiga-demo"
async def seed(*args: object, **kwargs: object) -> None:
    return None
