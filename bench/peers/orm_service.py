"""What most people run: FastAPI, the SQLAlchemy ORM and SELECT ... FOR UPDATE, in one process.

`python -m bench.peers.orm_service POSTGRES_URL PORT` serves until it is told to stop.
"""

import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

import uvloop
from fastapi import Depends, FastAPI
from fastapi.responses import JSONResponse
from sqlalchemy import BigInteger, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from bench.peers.shop_routes import CONNECTIONS, PATH, Key, Line, Wanted, answer, application, serve, site_of


class _Base(DeclarativeBase):
    """All tables of the shop."""


class Stock(_Base):
    """A bin."""

    __tablename__ = "stock"

    site: Mapped[str] = mapped_column(primary_key=True)
    bin: Mapped[int] = mapped_column(primary_key=True)
    on_hand: Mapped[int] = mapped_column(BigInteger)
    reserved: Mapped[int] = mapped_column(BigInteger, default=0)


class ReservationLine(_Base):
    """A line of a reservation."""

    __tablename__ = "reservation_line"

    key: Mapped[str] = mapped_column(primary_key=True)
    line: Mapped[int] = mapped_column(primary_key=True)
    site: Mapped[str]
    bin: Mapped[int]
    quantity: Mapped[int] = mapped_column(BigInteger)


async def reserved(session: AsyncSession, key: str, lines: Sequence[Line]) -> bool:
    """Reserve all lines or none; return whether they are, by this request or by one with its key before."""
    site = site_of(lines)
    units: Counter[int] = Counter()
    for line in lines:
        units[line.bin] += line.quantity
    bins = select(Stock).where(Stock.site == site, Stock.bin.in_(units)).order_by(Stock.bin).with_for_update()
    stock = (await session.scalars(bins)).all()
    if len(stock) < len(units) or any(row.on_hand - row.reserved < units[row.bin] for row in stock):
        return await session.get(ReservationLine, (key, 0)) is not None
    for row in stock:
        row.reserved += units[row.bin]
    session.add_all(
        ReservationLine(key=key, line=number, site=site, bin=line.bin, quantity=line.quantity)
        for number, line in enumerate(lines)
    )
    try:
        await session.commit()
    except IntegrityError:  # The key has come before: nothing of this happened.
        await session.rollback()
    return True


def orm_app(sessions: async_sessionmaker[AsyncSession]) -> FastAPI:
    """Return the service."""
    app = application()

    async def session() -> AsyncIterator[AsyncSession]:
        async with sessions() as opened:
            yield opened

    @app.post(PATH)
    async def reserve(
        wanted: Wanted, key: Key, session: Annotated[AsyncSession, Depends(session)]
    ) -> JSONResponse:
        lines = [wanted] if isinstance(wanted, Line) else wanted.lines
        return answer(key, is_reserved=await reserved(session, key, lines))

    return app


async def _main(postgres_url: str, port: int) -> None:
    engine = create_async_engine(
        postgres_url.replace("postgresql://", "postgresql+asyncpg://", 1),
        pool_size=CONNECTIONS,
        max_overflow=0,
    )
    await serve(orm_app(async_sessionmaker(engine, expire_on_commit=False)), port)
    await engine.dispose()


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1], int(sys.argv[2])))
