"""What the OpenAPI document has to hold of OpenAI's files and batches."""

BATCH_ROUTES = {
    "post /v1/files",
    "get /v1/files",
    "get /v1/files/{file_id}",
    "delete /v1/files/{file_id}",
    "get /v1/files/{file_id}/content",
    "post /v1/batches",
    "get /v1/batches",
    "get /v1/batches/{batch_id}",
    "post /v1/batches/{batch_id}/cancel",
}
BATCH_MODELS = (
    "OpenAIFile",
    "OpenAIFileList",
    "FileDeleted",
    "BatchRequest",
    "OutputExpiresAfter",
    "BatchView",
    "BatchErrorView",
    "BatchCounts",
    "BatchList",
)
