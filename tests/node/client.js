// The same as managers.js by the newest SDK: node client.js ADDRESS.
const { MilvusClient, DataType, FunctionType } = require("milvus-of-today");

const { answerSteps } = require("./steps");

const [address] = process.argv.slice(2);
const client = new MilvusClient({ address });

const collection_name = "books";
const partition_name = "novel";

const ranker = (input_field_names, params) => ({
  name: "ranker",
  type: FunctionType.RERANK,
  description: "",
  input_field_names,
  output_field_names: [],
  params,
});
const decay = ranker(["id"], { reranker: "decay", function: "linear", origin: 1, scale: 2, decay: 0.5 });
const boost = ranker([], { reranker: "boost", filter: "id == 1", weight: 0.1 });
const nearby = { collection_name, data: [3, 0], limit: 3, output_fields: ["id"] };

const steps = {
  createCollection: () =>
    client.createCollection({
      collection_name,
      fields: [
        { name: "id", data_type: DataType.Int64, is_primary_key: true },
        { name: "embedding", data_type: DataType.FloatVector, dim: 2 },
      ],
    }),
  hasCollection: () => client.hasCollection({ collection_name }),
  describeCollection: () => client.describeCollection({ collection_name }),
  showCollections: () => client.showCollections(),
  statistics: () => client.getCollectionStatistics({ collection_name }),
  createPartition: () => client.createPartition({ collection_name, partition_name }),
  showPartitions: () => client.showPartitions({ collection_name }),
  createIndex: () =>
    client.createIndex({
      collection_name,
      field_name: "embedding",
      index_type: "HNSW",
      metric_type: "L2",
      params: { M: 8, efConstruction: 64 },
    }),
  describeIndex: () => client.describeIndex({ collection_name }),
  indexState: () => client.getIndexState({ collection_name }),
  indexProgress: () => client.getIndexBuildProgress({ collection_name }),
  load: () => client.loadCollectionSync({ collection_name }),
  release: () => client.releaseCollection({ collection_name }),
  insert: () => client.insert({ collection_name, data: [1, 2, 3].map((id) => ({ id, embedding: [id, 0] })) }),
  flush: () => client.flushSync({ collection_names: [collection_name] }),
  search: () => client.search({ collection_name, data: [3, 0], limit: 2, output_fields: ["id"] }),
  decayed: () => client.search({ ...nearby, rerank: decay }),
  boosted: () => client.search({ ...nearby, rerank: { functions: [boost, boost], params: { function_mode: "sum" } } }),
  counted: () =>
    client.search({
      ...nearby,
      search_aggregation: {
        fields: ["id"],
        size: 2,
        metrics: { nearest: { op: "min", field_name: "_score" } },
        order: [{ key: "nearest", direction: "desc" }],
        top_hits: { size: 1 },
      },
    }),
  createTexts: () =>
    client.createCollection({
      collection_name,
      fields: [
        { name: "id", data_type: DataType.Int64, is_primary_key: true },
        { name: "text", data_type: DataType.VarChar, max_length: 100, enable_analyzer: true },
        { name: "sparse", data_type: DataType.SparseFloatVector, is_function_output: true },
        { name: "embedding", data_type: DataType.FloatVector, dim: 2 },
      ],
      functions: [
        {
          name: "bm25",
          type: FunctionType.BM25,
          input_field_names: ["text"],
          output_field_names: ["sparse"],
          params: {},
        },
      ],
      index_params: [
        { field_name: "sparse", index_type: "SPARSE_INVERTED_INDEX", metric_type: "BM25" },
        { field_name: "embedding", index_type: "AUTOINDEX", metric_type: "L2" },
      ],
    }),
  insertTexts: () =>
    client.insert({
      collection_name,
      data: ["the white whale", "a ship at sea", "a whale"].map((text, id) => ({ id, text, embedding: [id, 0] })),
    }),
  searchWords: () =>
    client.search({ collection_name, data: "Whale", anns_field: "sparse", limit: 3, output_fields: ["text"] }),
  searchBoth: () =>
    client.search({
      collection_name,
      data: [
        { data: "ship", anns_field: "sparse" },
        { data: [0, 0], anns_field: "embedding" },
      ],
      limit: 2,
      output_fields: ["text"],
    }),
  deleteEntities: () => client.deleteEntities({ collection_name, filter: "id in [1,2]" }),
  version: () => client.getVersion(),
  listDatabases: () => client.listDatabases(),

  dropIndex: () => client.dropIndex({ collection_name, field_name: "embedding" }),
  dropPartition: () => client.dropPartition({ collection_name, partition_name }),
  dropCollection: () => client.dropCollection({ collection_name }),
};

client.connectPromise.then(() => answerSteps(steps)).finally(() => client.closeConnection());
