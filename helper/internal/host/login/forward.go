// SPDX-License-Identifier: Apache-2.0

package login

import (
	"os"

	"berth/helper/internal/host/agent"
	"berth/helper/internal/host/netns"
	"berth/helper/internal/host/request"
	"berth/helper/internal/link/lifeline"
	"berth/helper/internal/policy"
)

// checkForward returns a check that the ports that sshd forwards end in the container. A
// profile that forwards none needs no check.
func checkForward(p policy.Policy) func(lifeline.Guest) error {
	return func(guest lifeline.Guest) error {
		if !p.ForwardsPorts() {
			return nil
		}
		return netns.Check(guest.Net)
	}
}

// findAgent returns how the session's programs reach the agent that sshd forwards: at the path
// inside, or through connect; neither if there is no agent or the profile may not forward one. It
// connects once to try, because a variable that leads nowhere is worse than none.
func findAgent(p policy.Policy, req request.Request, home string, warn func(string)) (inside string, connect func() (*os.File, error)) {
	path := os.Getenv(agent.Variable)
	_, set := p.Session.SetEnv[agent.Variable]
	switch {
	case path == "" || set || req.Kind == lifeline.SFTPRequest || !p.MayForward(policy.Agent):
		return "", nil
	case agent.InHome(path, home):
		return path, nil
	}
	probe, err := agent.Connect(path)
	if err != nil {
		warn("the session has no agent: " + err.Error())
		return "", nil
	}
	probe.Close()
	return "", func() (*os.File, error) { return agent.Connect(path) }
}
