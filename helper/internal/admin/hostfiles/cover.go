// SPDX-License-Identifier: Apache-2.0

package hostfiles

import (
	"errors"
	"fmt"
	"os/user"
	"strconv"

	"berth/helper/internal/link/access"
	"berth/helper/internal/link/record"
	"berth/helper/internal/policy"
)

// Covers says of each profile whom it is for, by the ids that groups and users have on this
// host. Who is in two profiles belongs to the first. What has no id is returned as unknown.
func Covers(c policy.Config) (covers map[string]access.Cover, unknown []string) {
	covers = map[string]access.Cover{}
	var before access.IDs
	for _, p := range c.Profiles {
		cover := access.Cover{Closed: true, Except: before}
		for _, name := range p.Groups {
			if id, found := groupID(name); found {
				cover.Only.GIDs = append(cover.Only.GIDs, id)
			} else {
				unknown = append(unknown, "group "+name+" of profile "+p.Profile)
			}
		}
		for _, name := range p.Members {
			if id, found := userID(name); found {
				cover.Only.UIDs = append(cover.Only.UIDs, id)
			} else {
				unknown = append(unknown, "user "+name+" of profile "+p.Profile)
			}
		}
		covers[p.Profile] = cover
		before = access.IDs{UIDs: append(before.UIDs[:len(before.UIDs):len(before.UIDs)], cover.Only.UIDs...),
			GIDs: append(before.GIDs[:len(before.GIDs):len(before.GIDs)], cover.Only.GIDs...)}
	}
	covers[c.Base.Profile] = access.Cover{Except: before}
	return covers, unknown
}

func groupID(name string) (id uint32, found bool) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, false
	}
	return parseID(g.Gid)
}

func userID(name string) (id uint32, found bool) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, false
	}
	return parseID(u.Uid)
}

// LookUp returns what the name service says of a user now, as PAM's next record will have it, but for the
// shell, which os/user does not know.
func LookUp(name string) (record.Record, uint32, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return record.Record{}, 0, fmt.Errorf("account: %w", err)
	}
	uid, _ := parseID(u.Uid)
	gid, _ := parseID(u.Gid)
	known := record.Record{User: u.Username, GID: gid, Home: u.HomeDir, Groups: map[uint32]string{}}
	ids, err := u.GroupIds()
	for _, text := range ids {
		id, _ := parseID(text)
		known.Groups[id] = text
		if g, err := user.LookupGroupId(text); err == nil {
			known.Groups[id] = g.Name
		}
	}
	return known, uid, err
}

// HasAccount reports whether the name service of this host knows the uid.
func HasAccount(uid uint32) (bool, error) {
	_, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if unknown := user.UnknownUserIdError(0); errors.As(err, &unknown) {
		return false, nil
	}
	return err == nil, err
}

func parseID(text string) (id uint32, found bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err == nil
}
