package sink

import "testing"

func TestSchemaErrorText(t *testing.T) {
	const create, alter = "CREATE TABLE IF NOT EXISTS t (a Int64)", "ALTER TABLE t ADD COLUMN b Int64"
	const head = "the tables do not fit the pipeline:\n  table t is"
	for _, c := range []struct {
		name string
		err  SchemaError
		want string
	}{
		{"nothing mends it", SchemaError{Problems: []string{"table t is odd"}}, head + " odd"},
		{"all is missing", SchemaError{Problems: []string{"table t is missing"}, DDL: []string{create}}, head + " missing\n" +
			"what is there and looks missing, this user has no grant for: deploy/README.md lists what a role needs\n" +
			"run 'weir schema apply', or set 'schema: apply'; 'weir schema print' shows the statements"},
		{"something changes", SchemaError{Problems: []string{"table t is narrow"}, DDL: []string{alter, create}}, head + " narrow\n" +
			"run 'weir schema apply', set 'schema: apply', or run:\n\n" + alter + ";\n\n" + create + ";\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.err.Error(); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}
