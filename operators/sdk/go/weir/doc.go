// Package weir is for writing weir operators in Go: typed views of the input columns, builders for the output columns, the
// configuration, errors and logging, over ABI v1 (operators/abi/ABI.md).
//
// An operator is a main package that calls [Serve] in an init function, built with
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags='-s -w' -o op.wasm .
//
// A whole operator:
//
//	func init() { weir.Serve(open) }
//
//	func main() {}
//
//	func open(p *weir.Plan) (weir.Process, error) {
//		temp := p.Column("temp", weir.Float64)
//		offset := p.Config().Get("offset").Number(0)
//		p.PassAll()
//		return func(b *weir.Batch) error {
//			out := weir.New[float64](b, temp, b.Rows())
//			for i, v := range weir.Values[float64](b, temp) {
//				out[i] = v + offset
//			}
//			b.KeepNulls(temp, temp)
//			return nil
//		}, nil
//	}
//
// What a row becomes must depend on that row and the configuration alone: batches may be cut anywhere and run again. Views
// and builders point into memory that the host fills anew after each call: keep none of them. The package imports neither
// fmt nor encoding/json nor Arrow to keep operators small: a stripped one has some 2.3 MB.
//
// Everything but this file is for wasip1 alone.
package weir
