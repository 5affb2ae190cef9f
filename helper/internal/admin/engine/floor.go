// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"

	"github.com/docker/docker/api/types/versions"
)

// floor is the oldest API that berth is tested with: Docker Engine 20.10.
const floor = "1.41"

// TooOld returns what is wrong with the engine's age, or nothing.
func (e *Engine) TooOld(ctx context.Context) (string, error) {
	v, err := e.api.ServerVersion(ctx)
	if err != nil {
		return "", wrap("ask the engine", err)
	}
	return tooOld(v.Version, v.APIVersion), nil
}

func tooOld(version, api string) string {
	if versions.LessThan(api, floor) {
		return fmt.Sprintf("the engine, %s, has API %s; berth needs %s or newer (Docker Engine 20.10)", version, api, floor)
	}
	return ""
}
