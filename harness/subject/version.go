package subject

import (
	"github.com/Masterminds/semver/v3"
)

// versionOf reads a release's name, such as "v2.1.2".
func versionOf(name string) (*semver.Version, error) { return semver.NewVersion(name) }

// since tells whether a release is at least as new as another one. One whose version is not known counts as the newest.
func since(version, first string) bool {
	v, err := versionOf(version)
	return err != nil || v.Compare(semver.MustParse(first)) >= 0
}
