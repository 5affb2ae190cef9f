// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"

	"github.com/docker/docker/api/types/versions"
)

// minAPI is the oldest API that berth is tested with: Docker Engine 20.10.
const minAPI = "1.41"

// CheckVersion says what is wrong if the engine is too old.
func (e *Engine) CheckVersion(ctx context.Context) (string, error) {
	v, err := e.api.ServerVersion(ctx)
	if err != nil {
		return "", wrap("ask the engine", err)
	}
	return checkVersion(v.Version, v.APIVersion), nil
}

// Version asks the engine for its version.
func (e *Engine) Version(ctx context.Context) (string, error) {
	v, err := e.api.ServerVersion(ctx)
	if err != nil {
		return "", wrap("ask the engine", err)
	}
	return v.Version, nil
}

func checkVersion(version, api string) string {
	if versions.LessThan(api, minAPI) {
		return fmt.Sprintf("the engine, %s, has API %s; berth needs %s or newer (Docker Engine 20.10)", version, api, minAPI)
	}
	return ""
}
