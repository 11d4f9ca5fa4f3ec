// Another service in Node: nothing of Shoal but its protos, which proto-loader reads when the program starts.
import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { Readable } from "node:stream";
import { promisify } from "node:util";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";
import { crc32c } from "@node-rs/crc32";

const SIZE = 10 << 20, FRAME = 1 << 20; // bytes; no frame may hold more than 1 MiB
const PHOTOS = { name: "stub-node" };
const PROTOS = new URL("../../../protos", import.meta.url).pathname;
const NAMES = ["shoal/bucket/v1/bucket", "shoal/object/v1/object", "google/rpc/status", "google/rpc/error_details"];
const definitions = loader.loadSync(
  NAMES.map((name) => `${name}.proto`),
  { includeDirs: [PROTOS], longs: Number, defaults: true, oneofs: true },
);
const { shoal } = grpc.loadPackageDefinition(definitions);
const sha256 = (body) => ({ type: "sha256", value: createHash("sha256").update(body).digest("hex") });
const within = (seconds) => ({ deadline: Date.now() + seconds * 1000 });

// One specification, the frames, one finish.
function* messages(name, body) {
  yield { specification: { bucket: PHOTOS, name, size: body.length, checksums: [sha256(body)] } };
  for (let offset = 0; offset < body.length; offset += FRAME) {
    const data = body.subarray(offset, offset + FRAME);
    yield { frame: { offset, data, crc32c: crc32c(data) } };
  }
  yield { finish: { size: body.length } };
}

const upload = (store, name, body) =>
  new Promise((resolve, reject) => {
    const call = store.putObject(within(60), (error, answer) => (error ? reject(error) : resolve(answer.object)));
    Readable.from(messages(name, body)).pipe(call); // as fast as the cluster takes it
  });

// The record first, then frames; each frame is checked, and then the whole.
async function download(store, name) {
  let record;
  let size = 0;
  const pieces = [];
  for await (const { object, frame } of store.getObject({ bucket: PHOTOS, name }, within(60))) {
    if (object) {
      record = object;
      continue;
    }
    if (frame.offset !== size || frame.crc32c !== crc32c(frame.data)) {
      throw new Error(`${name}: a damaged frame at ${frame.offset}`);
    }
    pieces.push(frame.data);
    size += frame.data.length;
  }
  const body = Buffer.concat(pieces);
  if (record.checksum.value !== sha256(body).value) {
    throw new Error(`${name}: what arrived is not what is stored`);
  }
  return body;
}

// The `ErrorReason` of a failed call without its prefix, or undefined when the failure is not Shoal's own.
function reason(error) {
  const [status] = error.metadata?.get("grpc-status-details-bin") ?? [];
  const details = status ? definitions["google.rpc.Status"].deserialize(status).details : [];
  return details
    .filter((detail) => detail.type_url.endsWith("/google.rpc.ErrorInfo"))
    .map((detail) => definitions["google.rpc.ErrorInfo"].deserialize(detail.value))
    .find((info) => info.domain === "shoal")?.reason;
}

const credentials = grpc.credentials.createSsl(readFileSync(process.env.SHOAL_CA));
const buckets = new shoal.bucket.v1.BucketService(process.env.SHOAL_GRPC, credentials);
const store = new shoal.object.v1.ObjectService(process.env.SHOAL_GRPC, credentials);

const wanted = { bucket: PHOTOS, properties: { checksumType: "sha256" } };
await promisify(buckets.createBucket)
  .call(buckets, wanted, within(30))
  .catch((error) => {
    if (reason(error) !== "BUCKET_ALREADY_EXISTS") throw error; // it is there from our last run
  });
const body = randomBytes(SIZE);
const put = await upload(store, "cats/1.raw", body);
const got = await download(store, "cats/1.raw");
const question = { bucket: PHOTOS, prefix: "cats/" };
const { objects } = await promisify(store.listObjects).call(store, question, within(30));
for (const { name, size, version } of objects) console.log(name, size, version);
if (!got.equals(body) || objects.length !== 1 || objects[0].version !== put.version) {
  throw new Error("what was put is not what was got and listed");
}

const failure = await download(store, "dogs/1.raw").catch((error) => error);
if (reason(failure) !== "OBJECT_NOT_FOUND") throw failure;
console.log(`node: ${SIZE} bytes put, got and listed; then ${reason(failure)}`);
buckets.close();
store.close();
