/*
 * Place, retry, ship and refuse orders, and follow the change feed, with generated types.
 *
 *     npm run build && npm start -- URL KEY
 *
 * The API key needs the role `manage`, because the example creates its products.
 */
import { randomUUID } from "node:crypto";
import createClient from "openapi-fetch";
import type { components, paths } from "./generated/inventory.js";

type Problem = components["schemas"]["Problem"];
type Reservation = components["schemas"]["Reservation"];
type StockEvent = components["schemas"]["StockEvent"];

class Refused extends Error {
  constructor(readonly problem: Problem) {
    super(`${problem.status} ${problem.code}: ${problem.detail}`);
  }
}

const [url, key] = process.argv.slice(2);
if (!url || !key) throw new Error("Usage: npm start -- URL KEY");
const client = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${key}` } });

/** Create a product, unless it exists. */
async function createProduct(sku: string, name: string, quantity: number): Promise<void> {
  const { error } = await client.POST("/v1/products", {
    params: { header: { "Idempotency-Key": `create-${sku}` } },
    body: { sku, name, quantity },
  });
  if (error && error.code !== "duplicate_sku") throw new Refused(error);
}

/** Reserve the units of an order, or throw `Refused`. The same order is reserved once. */
async function reserve(order: string, amounts: Record<string, number>): Promise<Reservation> {
  const { data, error, response } = await client.POST("/v1/reservations", {
    params: { header: { "Idempotency-Key": order } },
    body: {
      reference: order,
      lines: Object.entries(amounts).map(([sku, amount]) => ({ sku, amount })),
    },
  });
  if (error) throw new Refused(error);
  const isReplay = response.headers.has("Idempotent-Replayed");
  console.log(`${order}: reservation ${data.id}${isReplay ? ", replayed" : ""}`);
  return data;
}

/** Fulfill all open units of a reservation. */
async function ship(reservation: Reservation): Promise<void> {
  const { data, error } = await client.POST("/v1/reservations/{id}/fulfill", {
    params: { path: { id: reservation.id }, header: { "Idempotency-Key": `ship-${reservation.id}` } },
    body: {},
  });
  if (error) throw new Refused(error);
  console.log(`${data.reference}: ${data.status}`);
}

/** Yield the stock events after a cursor. A real consumer stores the cursor of each page. */
async function* eventsAfter(cursor: string): AsyncGenerator<StockEvent> {
  for (let more = true; more; ) {
    const { data, error } = await client.GET("/v1/events", { params: { query: { after: cursor } } });
    if (error) throw new Refused(error);
    yield* data.results;
    ({ cursor, more } = data);
  }
}

/** Return the cursor after the last stock event. */
async function latestCursor(): Promise<string> {
  const { data, error } = await client.GET("/v1/events", { params: { query: { after: "latest" } } });
  if (error) throw new Refused(error);
  return data.cursor;
}

await createProduct("EXAMPLE-SHIRT", "Example shirt", 100_000);
await createProduct("EXAMPLE-MUG", "Example mug", 1);
const cursor = await latestCursor();
const order = `order-${randomUUID()}`;

const reservation = await reserve(order, { "EXAMPLE-SHIRT": 2 });
const again = await reserve(order, { "EXAMPLE-SHIRT": 2 });
if (again.id !== reservation.id) throw new Error("The retry reserved twice.");
await ship(reservation);

try {
  await reserve(`${order}-2`, { "EXAMPLE-SHIRT": 1, "EXAMPLE-MUG": 2 });
} catch (error) {
  if (!(error instanceof Refused)) throw error;
  console.log(error.message);
  for (const line of error.problem.lines ?? []) {
    console.log(`  line ${line.index}: ${line.requested} of ${line.sku}, ${line.available} available`);
  }
}

for await (const event of eventsAfter(cursor)) {
  console.log(`${event.type} ${event.sku}, version ${event.version}: ${event.quantity} on hand`);
}
