"""A service that a team could write by hand, with FastAPI, SQLModel and asyncpg, without keys.

It is well tuned: an asynchronous engine with a pool in each worker process, prepared statements,
uvloop and httptools, one worker per core, and no access log. A change locks, checks, updates,
inserts one ledger row, and commits. `benchmarks.services` starts it.

    python -m benchmarks.reference

This creates its tables and products in DATABASE_URL.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated

from fastapi import Body, Depends, FastAPI, HTTPException, Query
from sqlalchemy import BigInteger, func
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import Field, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from benchmarks.shop import OPENING_QUANTITY, SKUS

app = FastAPI()
url = os.environ["DATABASE_URL"].replace("postgres://", "postgresql+asyncpg://")
engine = create_async_engine(url, pool_size=16, max_overflow=0)
reading_engine = engine.execution_options(isolation_level="AUTOCOMMIT")  # No BEGIN and ROLLBACK.


class Product(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    sku: str = Field(unique=True)
    name: str
    quantity: int = Field(sa_type=BigInteger)
    reserved_quantity: int = Field(default=0, sa_type=BigInteger)
    minimum_stock_level: int = 0


class StockEvent(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    product_id: int = Field(foreign_key="product.id", index=True)
    type: str
    quantity_change: int = 0
    reserved_change: int = 0
    occurred_at: datetime = Field(default=None, sa_column_kwargs={"server_default": func.now()})


class Line(SQLModel):
    sku: str
    amount: int = Field(ge=1)


async def session() -> AsyncIterator[AsyncSession]:
    async with AsyncSession(engine, expire_on_commit=False) as opened:
        yield opened


async def reading_session() -> AsyncIterator[AsyncSession]:
    async with AsyncSession(reading_engine) as opened:
        yield opened


Session = Annotated[AsyncSession, Depends(session)]
ReadingSession = Annotated[AsyncSession, Depends(reading_session)]
Amount = Annotated[int, Body(embed=True, ge=1)]


@app.get("/products/{sku}")
async def retrieve(sku: str, session: ReadingSession) -> Product:
    product = (await session.exec(select(Product).where(Product.sku == sku))).first()
    if product is None:
        raise HTTPException(404, "Product not found.")
    return product


@app.get("/products")
async def pages(
    session: ReadingSession, after: str = "", page_size: Annotated[int, Query(le=1_000)] = 100
) -> Sequence[Product]:
    page = select(Product).where(Product.sku > after).order_by(Product.sku).limit(page_size)
    return (await session.exec(page)).all()


@app.post("/products/{sku}/remove")
async def remove(sku: str, amount: Amount, session: Session) -> Product:
    [product] = await lock(session, {sku: amount})
    product.quantity -= amount
    session.add(StockEvent(product_id=product.id, type="removed", quantity_change=-amount))
    await session.commit()
    return product


@app.post("/products/{sku}/reserve")
async def reserve(sku: str, amount: Amount, session: Session) -> Product:
    return (await hold(session, {sku: amount}))[0]


@app.post("/reservations", status_code=201)
async def order(
    lines: Annotated[list[Line], Body(embed=True)], session: Session
) -> Sequence[Product]:
    return await hold(session, {line.sku: line.amount for line in lines})


async def hold(session: AsyncSession, amounts: Mapping[str, int]) -> Sequence[Product]:
    """Count the units as reserved. Unlike our service, this records no owner."""
    products = await lock(session, amounts)
    for product in products:
        amount = amounts[product.sku]
        product.reserved_quantity += amount
        session.add(StockEvent(product_id=product.id, type="reserved", reserved_change=amount))
    await session.commit()
    return products


async def lock(session: AsyncSession, amounts: Mapping[str, int]) -> Sequence[Product]:
    """Lock the products in one order, and check that the amounts are available."""
    wanted = select(Product).where(col(Product.sku).in_(amounts)).order_by(Product.id)
    products = (await session.exec(wanted.with_for_update())).all()
    if len(products) < len(amounts):
        raise HTTPException(404, "Product not found.")
    if any(p.quantity - p.reserved_quantity < amounts[p.sku] for p in products):
        raise HTTPException(409, "Insufficient stock.")
    return products


async def create() -> None:
    async with engine.begin() as connection:
        await connection.run_sync(SQLModel.metadata.create_all)
    async with AsyncSession(engine) as session:
        session.add_all(Product(sku=s, name=s.title(), quantity=OPENING_QUANTITY) for s in SKUS)
        await session.commit()
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(create())
