package scenario

import _ "embed"

// schema is made from the types of this package by TestGenerated.
//
//go:embed schema.json
var schema []byte

// Schema is the JSON schema of scenario files, with which editors complete and check while one types.
func Schema() ([]byte, error) { return schema, nil }
