// Milvus's page of delete operations, by the SDK of its time: node managers.js ADDRESS. Reads the name of a step, makes
// its call, prints as JSON what the server answered, and reads the next: the test looks into PostgreSQL in between.
const { MilvusClient } = require("milvus-of-the-page");

const { answerSteps } = require("./steps");

const [address] = process.argv.slice(2);
const milvusClient = new MilvusClient(address);
const { collectionManager, partitionManager, indexManager, dataManager } = milvusClient;

const COLLECTION_NAME = "books";
const PARTITION_NAME = "novel";

const steps = {
  createCollection: () =>
    collectionManager.createCollection({
      collection_name: COLLECTION_NAME,
      fields: [
        { name: "id", data_type: 5, is_primary_key: true, description: "" },
        { name: "embedding", data_type: 101, type_params: { dim: "2" }, description: "" },
      ],
    }),
  hasCollection: () => collectionManager.hasCollection({ collection_name: COLLECTION_NAME }),
  describeCollection: () => collectionManager.describeCollection({ collection_name: COLLECTION_NAME }),
  showCollections: () => collectionManager.showCollections(),
  statistics: () => collectionManager.getCollectionStatistics({ collection_name: COLLECTION_NAME }),
  createPartition: () =>
    partitionManager.createPartition({ collection_name: COLLECTION_NAME, partition_name: PARTITION_NAME }),
  showPartitions: () => partitionManager.showPartitions({ collection_name: COLLECTION_NAME }),
  createIndex: () =>
    indexManager.createIndex({
      collection_name: COLLECTION_NAME,
      field_name: "embedding",
      extra_params: { index_type: "HNSW", metric_type: "L2", params: JSON.stringify({ M: 8, efConstruction: 64 }) },
    }),
  describeIndex: () => indexManager.describeIndex({ collection_name: COLLECTION_NAME }),
  indexState: () => indexManager.getIndexState({ collection_name: COLLECTION_NAME }),
  indexProgress: () => indexManager.getIndexBuildProgress({ collection_name: COLLECTION_NAME }),
  load: () => collectionManager.loadCollectionSync({ collection_name: COLLECTION_NAME }),
  release: () => collectionManager.releaseCollection({ collection_name: COLLECTION_NAME }),
  insert: () =>
    dataManager.insert({
      collection_name: COLLECTION_NAME,
      fields_data: [1, 2, 3].map((id) => ({ id, embedding: [id, 0] })),
    }),
  flush: () => dataManager.flushSync({ collection_names: [COLLECTION_NAME] }),
  search: () =>
    dataManager.search({
      collection_name: COLLECTION_NAME,
      expr: "",
      vectors: [[3, 0]],
      vector_type: 101,
      output_fields: ["id"],
      search_params: {
        anns_field: "embedding", topk: "2", metric_type: "L2", params: JSON.stringify({ ef: 16 }), round_decimal: -1,
      },
    }),
  deleteEntities: () => dataManager.deleteEntities({ collection_name: COLLECTION_NAME, expr: "id in [1,2]" }),
  version: () => milvusClient.getVersion(),
  checkVersion: () => milvusClient.checkVersion(),

  // The page's own.
  dropIndex: () => milvusClient.indexManager.dropIndex({ collection_name: COLLECTION_NAME }),
  dropPartition: () =>
    milvusClient.partitionManager.dropPartition({ collection_name: COLLECTION_NAME, partition_name: PARTITION_NAME }),
  dropCollection: () => milvusClient.collectionManager.dropCollection({ collection_name: COLLECTION_NAME }),
};

answerSteps(steps).finally(() => milvusClient.closeConnection());
