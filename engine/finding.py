"""Finding what a command names: stocks, bins and lots, or why they cannot be found. Nothing is changed."""

from engine.draft import Draft
from engine.limits import QUANTITY_MAX
from engine.refusals import Refusal, Refused, refused
from engine.state import NEVER_MS, NO_LOT, Bin, Lot, Partition, Stock


def stock_of(partition: Partition, site: str, sku: str) -> Stock:
    """Return the stock of a SKU; one that holds nothing when it is not known yet."""
    return partition.stocks.get((site, sku)) or Stock(site, sku)


def found_stock(
    partition: Partition, site: str, sku: str, location: str | None, lot: str | None
) -> Stock | Refused:
    """Return the stock of a SKU that is known, with the bin and the lot that are named."""
    stock = partition.stocks.get((site, sku))
    if stock is None or not stock.bins:
        return refused(Refusal.STOCK_NOT_FOUND, site=site, sku=sku)
    if location is not None and location not in stock.bins:
        return refused(Refusal.BIN_NOT_FOUND, site=site, sku=sku, location=location)
    if lot is not None:
        bins = stock.bins.values() if location is None else (stock.bins[location],)
        if not any(bin_.lot(lot) is not None for bin_ in bins):
            return refused(Refusal.LOT_NOT_FOUND, site=site, sku=sku, location=location, lot=lot)
    return stock


def lot_of(stock: Stock, location: str, lot_code: str | None) -> Lot | Refused:
    """Return the lot that is named, or the only one there is; one without units when it is not known yet."""
    if lot_code is None:
        return sole_lot(stock, location) or refused(Refusal.LOT_REQUIRED, location=location)
    bin_ = stock.bins.get(location)
    return (bin_.lot(lot_code) if bin_ is not None else None) or Lot(lot_code)


def sole_lot(stock: Stock, location: str) -> Lot | None:
    """Return the only lot with units in a bin, or None if several have some.

    An empty one without a code if none has.
    """
    bin_ = stock.bins.get(location)
    if bin_ is None:
        return Lot(NO_LOT)
    stocked = [lot for lot in bin_.lots if lot.on_hand]
    if len(stocked) > 1:
        return None
    return stocked[0] if stocked else bin_.lot(NO_LOT) or Lot(NO_LOT)


def stocked_lots(stock: Stock, lot_code: str) -> list[Lot]:
    """Return a lot in every bin where it has units."""
    lots = (bin_.lot(lot_code) for bin_ in stock.bins.values())
    return [lot for lot in lots if lot is not None and lot.on_hand]


def known_expiry_ms(stock: Stock, lot_code: str) -> int | None:
    """Return when a lot expires, as far as it is known: a lot has one date, in whatever bin it turns up.

    Where no bin has units of it any more, the last one that had some remembers.
    """
    if lot_code == NO_LOT:
        return None
    for lot in stocked_lots(stock, lot_code):
        return lot.expires_at_ms
    found = (bin_.lot(lot_code) for bin_ in stock.bins.values())
    dated = [
        (lot.seq, lot.expires_at_ms) for lot in found if lot is not None and lot.expires_at_ms is not None
    ]
    return max(dated)[1] if dated else None


def is_expired(stock: Stock, lot_code: str, now_ms: int) -> bool:
    """Whether a lot that has units is past its date."""
    return any(
        lot.expires_at_ms is not None and lot.expires_at_ms <= now_ms for lot in stocked_lots(stock, lot_code)
    )


def ordered_lots(bin_: Bin, lot_code: str | None) -> list[Lot]:
    """Return the lots of a bin with units, first expired first."""
    lots = [lot for lot in bin_.lots if lot.on_hand and lot_code in (None, lot.code)]
    return sorted(lots, key=lambda lot: (lot.expires_at_ms or NEVER_MS, lot.age, lot.code))


def beyond_limit(draft: Draft, stock: Stock, location: str, lot: str, quantity: int) -> Refused | None:
    """Return a refusal if so many more units of a lot in a bin would be more than can be counted."""
    on_hand = draft.balance(stock, location, lot)[0]
    if on_hand + quantity > QUANTITY_MAX:
        return refused(Refusal.QUANTITY_LIMIT, on_hand=on_hand, requested=quantity, limit=QUANTITY_MAX)
    return None
