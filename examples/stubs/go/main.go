// Another service in Go: nothing of Shoal but its protos. ./run generates what this imports.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	bucketv1 "example.com/stub/generated/shoal/bucket/v1"
	commonv1 "example.com/stub/generated/shoal/common/v1"
	objectv1 "example.com/stub/generated/shoal/object/v1"
)

const size, frameMax = 10 << 20, 1 << 20 // bytes; no frame may hold more than 1 MiB

var (
	photos     = &commonv1.BucketReference{Name: "stub-go"}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

func sha256Of(body []byte) *commonv1.Checksum {
	sum := sha256.Sum256(body)
	return &commonv1.Checksum{Type: "sha256", Value: hex.EncodeToString(sum[:])}
}

// upload sends one specification, the frames, one finish. When a Send fails, the answer says why.
func upload(ctx context.Context, store objectv1.ObjectServiceClient, name string, body []byte) (*objectv1.Object, error) {
	stream, err := store.PutObject(ctx)
	if err != nil {
		return nil, err
	}
	total := int64(len(body))
	what := &objectv1.PutObjectSpecification{Bucket: photos, Name: name, Size: &total, Checksums: []*commonv1.Checksum{sha256Of(body)}}
	err = stream.Send(&objectv1.PutObjectRequest{Message: &objectv1.PutObjectRequest_Specification{Specification: what}})
	for offset := 0; offset < len(body) && err == nil; offset += frameMax {
		data := body[offset:min(offset+frameMax, len(body))]
		frame := &objectv1.Frame{Offset: int64(offset), Data: data, Crc32C: crc32.Checksum(data, castagnoli)}
		err = stream.Send(&objectv1.PutObjectRequest{Message: &objectv1.PutObjectRequest_Frame{Frame: frame}})
	}
	if err == nil {
		finish := &objectv1.PutObjectFinish{Size: total}
		stream.Send(&objectv1.PutObjectRequest{Message: &objectv1.PutObjectRequest_Finish{Finish: finish}})
	}
	answer, err := stream.CloseAndRecv()
	return answer.GetObject(), err
}

// download reads the record first, then frames; each frame is checked, and then the whole.
func download(ctx context.Context, store objectv1.ObjectServiceClient, name string) ([]byte, error) {
	stream, err := store.GetObject(ctx, &objectv1.GetObjectRequest{Bucket: photos, Name: name})
	if err != nil {
		return nil, err
	}
	var record *objectv1.Object
	var body []byte
	for {
		message, err := stream.Recv()
		if err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
		if record == nil {
			record = message.GetObject()
			continue
		}
		frame := message.GetFrame()
		if frame.GetOffset() != int64(len(body)) || frame.GetCrc32C() != crc32.Checksum(frame.GetData(), castagnoli) {
			return nil, fmt.Errorf("%s: a damaged frame at %d", name, frame.GetOffset())
		}
		body = append(body, frame.GetData()...)
	}
	if record.GetChecksum().GetValue() != sha256Of(body).GetValue() {
		return nil, fmt.Errorf("%s: what arrived is not what is stored", name)
	}
	return body, nil
}

// reason is the ErrorReason of a failed call without its prefix, or "" when the failure is not Shoal's own.
func reason(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == "shoal" {
			return info.GetReason()
		}
	}
	return ""
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	secure := grpc.WithTransportCredentials(must(credentials.NewClientTLSFromFile(os.Getenv("SHOAL_CA"), "")))
	channel := must(grpc.NewClient(os.Getenv("SHOAL_GRPC"), secure))
	defer channel.Close()
	buckets, store := bucketv1.NewBucketServiceClient(channel), objectv1.NewObjectServiceClient(channel)

	wanted := &bucketv1.BucketProperties{ChecksumType: "sha256"}
	_, err := buckets.CreateBucket(ctx, &bucketv1.CreateBucketRequest{Bucket: photos, Properties: wanted})
	if err != nil && reason(err) != "BUCKET_ALREADY_EXISTS" { // it is there from our last run
		log.Fatal(err)
	}
	body := make([]byte, size)
	rand.Read(body)
	put := must(upload(ctx, store, "cats/1.raw", body))
	got := must(download(ctx, store, "cats/1.raw"))
	page := must(store.ListObjects(ctx, &objectv1.ListObjectsRequest{Bucket: photos, Prefix: "cats/"})).GetObjects()
	for _, entry := range page {
		fmt.Println(entry.GetName(), entry.GetSize(), entry.GetVersion())
	}
	if !bytes.Equal(got, body) || len(page) != 1 || page[0].GetVersion() != put.GetVersion() {
		log.Fatal("what was put is not what was got and listed")
	}
	if _, err = download(ctx, store, "dogs/1.raw"); reason(err) != "OBJECT_NOT_FOUND" {
		log.Fatal("an object that nobody put: ", err)
	}
	fmt.Printf("go: %d bytes put, got and listed; then %s\n", size, reason(err))
}
