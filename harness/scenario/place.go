package scenario

import (
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// place is where a field of an object stands in the file, given its path in the filled object as the API server writes it:
// "spec.ports[0].nodePort". For a field that the manifest does not have, it is where what should hold it stands. written is the
// path in the manifest: a target may have become several elements of a list.
func (o object) place(path string, origins map[string][]int) (at spot, written string) {
	at = o.at
	v, filled := reflect.ValueOf(o.object).Elem(), ""
	for _, s := range segments(path) {
		name := s.name
		if s.bracketed {
			if origin := origins[filled]; s.index() < len(origin) {
				name = strconv.Itoa(origin[s.index()])
			}
			filled += "[" + s.name + "]"
			written += "[" + name + "]"
		} else {
			filled, written = join(filled, name), join(written, name)
		}
		if v = o.step(v, name); !v.IsValid() {
			continue
		}
		if found := o.placeOf(v); found.line > 0 {
			at = found
		}
	}
	return at, written
}

// step goes from a value to a field or an element of it; the zero Value if there is none.
func (o object) step(v reflect.Value, name string) reflect.Value {
	for v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Struct:
		return o.fieldOf(v, name)
	case reflect.Slice:
		if i, err := strconv.ParseUint(name, 10, 31); err == nil && int(i) < v.Len() {
			return v.Index(int(i))
		}
	case reflect.Map:
		return reflect.ValueOf(mapKey{v.Addr().Interface(), name})
	}
	return reflect.Value{}
}

// placeOf is where a value stands; for an entry of a map, where its key does.
func (o object) placeOf(v reflect.Value) spot {
	if !v.CanAddr() {
		return o.places[v.Interface()]
	}
	return o.places[v.Addr().Interface()]
}

// twins are fields that the API server completes from one another, and reports under the first name.
var twins = map[string]string{"clusterIPs": "clusterIP"}

// fieldOf finds a field by the name that it has in manifests. Kubernetes spells some differently in messages.
func (o object) fieldOf(v reflect.Value, name string) reflect.Value {
	all := fieldsOf(v.Type(), "json")
	i := slices.IndexFunc(all, func(f field) bool { return strings.EqualFold(f.name, name) })
	if i < 0 {
		return reflect.Value{}
	}
	found := v.FieldByIndex(all[i].index)
	if twin := twins[name]; twin != "" && o.places[found.Addr().Interface()].line == 0 {
		return o.fieldOf(v, twin)
	}
	return found
}

// segment is a step of a path: a name, or what stands between brackets.
type segment struct {
	name      string
	bracketed bool
}

// index is the number between the brackets; beyond any list if there is none.
func (s segment) index() int {
	if i, err := strconv.ParseUint(s.name, 10, 31); err == nil {
		return int(i)
	}
	return math.MaxInt
}

// segments splits "metadata.annotations[a.b/c].d[0]". What stands between brackets may contain dots.
func segments(path string) []segment {
	var all []segment
	for path != "" {
		if inner, ok := strings.CutPrefix(path, "["); ok {
			name, rest, _ := strings.Cut(inner, "]")
			all, path = append(all, segment{name, true}), strings.TrimPrefix(rest, ".")
			continue
		}
		end := strings.IndexAny(path, ".[")
		if end < 0 {
			end = len(path)
		}
		all, path = append(all, segment{path[:end], false}), strings.TrimPrefix(path[end:], ".")
	}
	return all
}
